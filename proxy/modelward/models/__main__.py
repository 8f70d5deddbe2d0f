"""`python -m modelward.models`: a process that reads model files, started by exec."""

from modelward.config import unchecked


def main() -> None:
    unchecked.choose()  # what it imports of the configuration's checks nothing here
    from modelward.models.reader_process import main as run  # noqa: PLC0415

    run()


if __name__ == "__main__":
    main()
