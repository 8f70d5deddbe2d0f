"""Tables that fit the terminal, which commands print. Apart from `output`, since rich takes 2 MiB."""

from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from modelward.cli.text import plain

BORDERS = 3  # characters of each column of a table beside its text


def fitted(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], width: int) -> RenderableType:
    """A table whose lines are broken between words. Where the words of a row have no room beside each other, each row
    is a block of lines."""
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = _widths(columns, cells, width)
    if widths is None:
        return Group(*_blocks(title, columns, cells))
    table = Table(title=Text(plain(title)) if title else None, title_justify="left", show_lines=False)
    for column, of_column in zip(columns, widths, strict=True):
        table.add_column(column, width=of_column, overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    return table


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int] | None:
    """Of the columns of a table, each at least as wide as its longest word; None where they do not fit."""
    texts = [[column, *(row[i] for row in rows)] for i, column in enumerate(columns)]
    least = [max((cell_len(word) for text in of for word in text.split()), default=1) for of in texts]
    widths = [max((cell_len(line) for text in of for line in text.split("\n")), default=1) for of in texts]
    room = width - BORDERS * len(columns) - 1
    if sum(least) > room:
        return None
    while (excess := sum(widths) - room) > 0:
        widest = max((i for i in range(len(widths)) if widths[i] > least[i]), key=widths.__getitem__)
        others = [each for i, each in enumerate(widths) if i != widest and each < widths[widest]]
        widths[widest] -= max(1, min(excess, widths[widest] - max([least[widest], *others])))
    return widths


def _blocks(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Text]:
    if title:
        yield Text(plain(title), style="italic")
    for row in rows:
        told = [(column, text) for column, text in zip(columns, row, strict=True) if text]
        for i, (column, text) in enumerate(told):
            yield Text(f"{'  ' if i else '- '}{column}: ".replace(" : ", " ") + text.replace("\n", "\n    "))
