"""A stub program for Terraform: it records its calls and answers from files beside it."""

import json
import sys
from pathlib import Path

_PROGRAM = """#!{python}
import json, os, sys
from pathlib import Path
here = Path({here!r})
words = sys.argv[1:]
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(words) + "\\n")
state = here / "state"
answers = json.loads((here / "answers.json").read_text())
if words[0] in answers["fails"]:
    sys.stderr.write("Error: " + answers["fails"][words[0]] + "\\n\\n  on main.tf\\n")
    sys.exit(1)
if words[0] == "plan":
    print("Plan: 3 to add")
    out = [word for word in words if word.startswith("-out=")][0][5:]
    Path(out).write_text("plan")
    sys.exit(2 if answers["changes"] else 0)
if words[0] == "apply" and not any(word.startswith("-target") for word in words):
    state.write_text("\\n".join(answers["addresses"]))
if words[0] == "destroy":
    state.write_text("\\n".join(answers["kept"]))
if words[:2] == ["state", "list"]:
    if not state.exists():
        sys.stderr.write("No state file was found!\\n")
        sys.exit(1)
    print(state.read_text())
if words[0] == "output":
    print(json.dumps(answers["outputs"]))
if words[0] == "version":
    print(json.dumps(answers["version"]))
"""


class TerraformStub:
    """The program in a folder, and its answers."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        self.program = folder / "terraform"
        self.program.write_text(_PROGRAM.format(python=sys.executable, here=str(folder)))
        self.program.chmod(0o755)
        self.answers = {
            "changes": True,
            "fails": {},
            "addresses": [],
            "kept": [],
            "outputs": {},
            "version": {
                "terraform_version": "1.11.4",
                "provider_selections": {"registry.terraform.io/hashicorp/aws": "5.100.0"},
            },
        }
        self.answer()

    def answer(self, **answers: object) -> None:
        """Change the answers from now on."""
        self.answers |= answers
        (self.folder / "answers.json").write_text(json.dumps(self.answers))

    def holds(self, *addresses: str) -> None:
        """Put these addresses into the state."""
        (self.folder / "state").write_text("\n".join(addresses))

    def calls(self, verb: str = "") -> list[list[str]]:
        """Return the calls so far, of one verb or all."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if verb in ("", call[0])]
