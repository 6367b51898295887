"""The integer graph: tensors, operations, shapes."""
