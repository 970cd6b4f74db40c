"""The rooms of infra/ import downward only, and without a circle."""

import re

from tests.conftest import ROOT

# Each room may import those on earlier lines.
FLOORS = [{"aws"}, {"state_machine"}, {"container", "runs", "images"}, {"release"}]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def test_a_room_imports_only_rooms_below_it():
    """Rooms on the same floor do not know each other."""
    upward = []
    for path in (ROOT / "infra").rglob("*.py"):
        parts = path.relative_to(ROOT / "infra").with_suffix("").parts
        room = parts[0]
        for other in re.findall(r"^\s*from infra\.(\w+)", path.read_text(), re.M):
            if other != room and FLOOR[other] >= FLOOR[room]:
                upward.append((path.name, other))
    assert upward == []
