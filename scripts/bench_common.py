"""What the benchmarks share: the machine's name, and how a result is shown."""
import json
import platform


def cpu_name():
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def add_outputs(parser):
    parser.add_argument("--json", action="store_true", help="only the JSON object, on standard output")
    parser.add_argument("--out", help="a file for the JSON object")


def show(args, result, table):
    """As JSON into --out, and on standard output with --json; else as a table."""
    text = json.dumps(result, indent=1)
    if args.out:
        with open(args.out, "w") as f:
            f.write(text + "\n")
    if args.json:
        print(text)
    else:
        table(result)
