"""What listens where: the sockets of a process and of those that it started, as the kernel lists them."""

import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import psutil

_TABLES: Final = ("tcp", "tcp6")
_LISTEN: Final = "0A"


def listening(pid: int) -> set[tuple[str, int]]:
    """Address and port of each TCP socket on which a process or a descendant listens, of /proc/net/tcp and tcp6."""
    table = _table(Path(f"/proc/{pid}/net"))
    return {table[inode] for process in _family(pid) for inode in _inodes(process) if inode in table}


def beyond_loopback(addresses: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
    """Those that other machines reach."""
    return {(host, port) for host, port in addresses if not ipaddress.ip_address(host).is_loopback}


def _table(folder: Path) -> dict[str, tuple[str, int]]:
    """Address and port by inode (proc(5))."""
    found = {}
    for name in _TABLES:
        for line in (folder / name).read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == _LISTEN:
                host, _, port = local.partition(":")
                found[rest[5]] = (_address(host), int(port, 16))
    return found


def _address(text: str) -> str:
    """An address of four-byte words, each in the machine's order."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _family(pid: int) -> list[int]:
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def _inodes(pid: int) -> set[str]:
    """The inodes of a process's sockets; none of one that has ended."""
    found = set()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            target = str(entry.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        return found
    return found
