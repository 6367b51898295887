"""The console programs: flags, and a call of a function of `qfa_tf.runs`.

Flags are defined when a program starts, not when its module is imported.
"""
