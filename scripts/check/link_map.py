"""What the linker took: the files of its map (ld -Map), and which members of each archive."""

import re
from pathlib import Path

LOAD = re.compile(r"^LOAD (\S+)$", re.MULTILINE)
# The list of members at the map's beginning: each, with who wanted it, or on the next line.
MEMBER = re.compile(r"^(\S+\.a)\(([^)\s]+)\)", re.MULTILINE)
MEMBERS_END = "\nDiscarded input sections"


def read(path: Path) -> dict[str, set[str]]:
    """File → the members that are linked in; objects have none, and archives of which nothing is are left out."""
    text = path.read_text()
    taken: dict[str, set[str]] = {}
    for archive, member in MEMBER.findall(text[: text.index(MEMBERS_END)]):
        taken.setdefault(str(Path(archive).resolve()), set()).add(member)
    for file in LOAD.findall(text):
        if not file.endswith(".a"):
            taken.setdefault(str(Path(file).resolve()), set())
    return taken
