"""Latency, memory and profiles of models on a device."""
