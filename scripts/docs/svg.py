"""Parts of pictures. They have a white ground of their own, so that they can be read on light and on dark pages."""

INK, PALE = "#24292f", "#57606a"


def picture(width: int, height: int, label: str, body: list[str]) -> str:
    """The whole file. label: what it shows, for readers who hear it."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
            f'font-family="system-ui, sans-serif" aria-label="{label}">',
            f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
            *body,
            "</svg>\n",
        ]
    )


def text(
    x: float, y: int, words: str, fill: str = INK, *, size: int = 14, weight: int = 400, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:g}" y="{y}" fill="{fill}" font-size="{size}" font-weight="{weight}"'
        f' text-anchor="{anchor}">{words}</text>'
    )
