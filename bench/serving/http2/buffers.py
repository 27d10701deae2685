"""Parts of bytes that wait."""


def trimmed(rest: memoryview) -> memoryview:
    """A rest of bytes, apart from the others once these are more: a view keeps all of them in memory."""
    return memoryview(bytes(rest)) if 2 * len(rest) < memoryview(rest.obj).nbytes else rest
