"""Programs that run a model in a runtime: one process for each model and runtime.

A worker gets a folder with `model.tflite` and `input_0.npy`, ..., each [N, ...]. It writes
`output_0.npy`, ..., each [N, ...], and at last `answer.json`, see `folder.Folder`.
"""
