"""Trained supernets that come along; `qfa_tf.supernet.pretrained` reads and writes the files."""
