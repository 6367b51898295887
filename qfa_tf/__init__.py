"""Quantized supernets: train once, search under a budget, deploy without retraining."""
