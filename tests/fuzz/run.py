#!/usr/bin/env python3
"""Runs libFuzzer programs, each a fixed number of inputs from a fixed seed, so that two runs of one build do the same.

Usage: run.py RUNS PROGRAM...

fuzz_NAME begins with what seeds/NAME.txt has, if there is such a file: an input a line, in hexadecimal, lines with # are comments.

Invariant: a program passes if it did exactly RUNS inputs and found nothing; an input that breaks it is kept beside the program.
"""
import re
import subprocess
import sys
from pathlib import Path

SEED = 1
MAX_LEN = 1024
PER_SECOND = 100  # inputs that even a busy machine does


def seeds(program):
    """libFuzzer's option that names the files with what it begins with; written anew each time, beside the program."""
    source = Path(__file__).parent / "seeds" / (Path(program).name.removeprefix("fuzz_") + ".txt")
    if not source.exists():
        return []
    folder = Path(f"{program}-seeds")
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    lines = [line for line in source.read_text().splitlines() if line and not line.startswith("#")]
    for number, line in enumerate(lines):
        (folder / f"{number:03}").write_bytes(bytes.fromhex(line.replace(" ", "")))
    return ["-seed_inputs=" + ",".join(str(f) for f in sorted(folder.iterdir()))]


def fuzz(program, runs):
    """True if it passed; prints a line, and the end of its output if not."""
    command = [program, f"-runs={runs}", f"-seed={SEED}", f"-max_len={MAX_LEN}", "-len_control=0", "-print_final_stats=1",
               f"-artifact_prefix={program}-", *seeds(program)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=60 + runs / PER_SECOND)
        output, status = done.stdout, done.returncode
    except subprocess.TimeoutExpired as e:
        output, status = f"{(e.stdout or b'').decode(errors='replace')}\nstill running after {e.timeout:.0f} s", 1
    count = re.search(r"number_of_executed_units: (\d+)", output)
    covered = re.findall(r"\bcov: (\d+)", output)
    ok = status == 0 and count and int(count[1]) == runs
    print(f"  {Path(program).name}: {count[1] if count else 0} inputs, {covered[-1] if covered else 0} edges:"
          f" {'passed' if ok else 'FAILED'}", flush=True)
    if not ok:
        print("\n".join(output.splitlines()[-60:]))
    return ok


def main(runs, programs):
    results = [fuzz(p, int(runs)) for p in programs]
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) and results else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
