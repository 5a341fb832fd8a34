"""Replays the fuzz corpus with gcc's sanitizers; every input is a test.

usage: python3 scripts/check/corpus.py REPLAY-PROGRAM DIR-OF-RESULTS     (from the top of the tree)
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import junit

CORPUS = Path("tests/fuzz/corpus")
# For all inputs of a target; the slowest takes a few seconds.
TIMEOUT_S = 180


def replay(program: str, target: str, files: list[str]) -> tuple[list[tuple[str, str | None]], str]:
    """(input, reason of the failure or None) for each, and what a failing program said."""
    results: list[tuple[str, str | None]] = []
    said = ""
    while files:
        try:
            done = subprocess.run(
                [program, target, *files],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
            )
            output, trouble, status = done.stdout, done.stderr, f"exit {done.returncode}"
            is_good = done.returncode == 0
        except subprocess.TimeoutExpired as expired:
            output, trouble = (expired.stdout or b"").decode(errors="replace"), ""
            status, is_good = f"no end within {TIMEOUT_S} s", False
        passed = output.splitlines()
        results += [(Path(name).name, None) for name in passed]
        files = files[len(passed) :]
        if files and not is_good:
            # The first one that did not pass.
            results.append((Path(files[0]).name, status))
            said += f"{program} {target} {files[0]}\n{trouble}"
            files = files[1:]
        elif not is_good:
            results.append((f"{target}: the end", status))
            said += trouble
        elif files:
            results += [(Path(name).name, "not run") for name in files]
            files = []
    return results, said


def main() -> int:
    program, directory = sys.argv[1], Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    counts = junit.Counts()
    with tempfile.TemporaryDirectory() as seeds:
        subprocess.run([sys.executable, "-m", "tests.fuzz.seeds", seeds], check=True)
        for target in sorted({p.name for parent in (CORPUS, Path(seeds)) for p in parent.iterdir()}):
            inputs = [p for parent in (CORPUS, Path(seeds)) for p in parent.glob(f"{target}/*")]
            results, said = replay(program, target, [str(p) for p in sorted(inputs)])
            counts = counts.plus(junit.write(directory / f"{target}.xml", f"corpus.{target}", results))
            print("\n".join(said.splitlines()[-60:]), end="\n" if said else "")
    print(f"check: corpus: {counts}")
    return 1 if counts.failed or not counts.passed else 0


if __name__ == "__main__":
    sys.exit(main())
