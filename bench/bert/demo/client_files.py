"""What clients need of the demo model, kept in the package: `make demo-client` makes it of a fresh export.

An installation without TensorFlow cannot export the demo model, but can drive a server that holds it.
"""

import shutil
import sys
from pathlib import Path
from typing import Final

CLIENT_FOLDER: Final = Path(__file__).parent / "client"
FILES: Final = ("assets.extra/golden.json", "assets/vocab.txt", "assets/tokenizer_config.json")


def write_client_files(model_dir: Path, folder: Path) -> None:
    """Copies them from an export.

    Args:
        model_dir: folder of the export's version 1.
        folder: gets the same version without graph and weights.
    """
    for name in FILES:
        target = folder / "1" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model_dir / "1" / name, target)


if __name__ == "__main__":
    from bench.bert.demo.demo_model import demo_model_dir

    write_client_files(demo_model_dir(), CLIENT_FOLDER)
    print(f"written: {CLIENT_FOLDER}", file=sys.stderr)
