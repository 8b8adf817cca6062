"""Turns pip's output (standard input) into one short line of progress. Argument: the locked requirements file."""

import re
import sys


def main(lock: str) -> None:
    with open(lock, encoding="utf-8") as lines:
        total = sum(1 for line in lines if re.match(r"[a-z0-9].*==", line))
    seen = 0
    for line in sys.stdin:
        if line.startswith("Collecting "):
            seen += 1
            print(f"\r  {seen} of about {total}: {line.split()[1].split('==')[0]:<40}", end="", flush=True)
        elif line.startswith("Installing collected"):
            print(f"\r  {'unpacking and compiling ...':<60}", end="", flush=True)
        elif line.lower().startswith("error"):
            print("\n" + line, end="", flush=True)
    print(f"\r  {'done':<60}", flush=True)


main(sys.argv[1])
