"""Write what `boundtoken inject` gives now into the golden files, and show the difference."""

import difflib

from tests.golden.cases import folders, results, there


def lines(content: bytes) -> list[str]:
    return content.decode().splitlines(keepends=True)


def main() -> None:
    changed = 0
    for folder in folders():
        old, new = there(folder), results(folder)
        for name in sorted(old.keys() | new.keys()):
            before, after = old.get(name, b""), new.get(name, b"")
            if before == after and name in new:
                continue
            changed += 1
            label = f"{folder.name}/{name}"
            for line in difflib.unified_diff(lines(before), lines(after), label, label):
                print(line, end="" if line.endswith("\n") else "\n\\ No newline at end of file\n")
            if name in new:
                (folder / name).write_bytes(after)
            else:
                (folder / name).unlink()
    print(f"{changed} files changed, of {len(folders())} cases")


if __name__ == "__main__":
    main()
