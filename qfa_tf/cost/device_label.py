"""What a latency was measured on, in one line: equal lines can be compared."""


def device_label(name: str, soc: str, abi: str, delegate: str, num_threads: int) -> str:
    """Processor or phone, delegate and threads, as latency tables have them in `device`."""
    return ", ".join(filter(None, [name, soc, abi, delegate, f"{num_threads} thread(s)"]))
