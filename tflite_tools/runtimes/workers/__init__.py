"""Programs that run models in a runtime, in a process of their own.

A worker gets folders, each with `model.tflite` and `input_0.npy`, ..., each [N, ...]. It writes
`output_0.npy`, ..., each [N, ...], and at last `answer.json`, see `folder.Folder`.
"""
