REFUSED: tuple[str, ...]
CLOSED: tuple[str, ...]
