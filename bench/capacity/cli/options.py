"""What the sweep makes of the options of a run."""

from typing import Final

# Options of a run that have a form of their own here, or no meaning.
OWN: Final = frozenset({"arrivals", "model_dir", "model_name", "results", "server_flags", "seed", "warmup", "drain"})
