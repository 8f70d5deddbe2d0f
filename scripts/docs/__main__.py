"""`python -m scripts.docs` writes what of docs/reference/ is generated, and puts the figures into all documents."""

from scripts.docs import DOCS, ROOT, documents
from scripts.docs.chart import CHART, chart
from scripts.docs.figures import with_figures
from scripts.docs.reference import pages

for name, text in pages().items():
    (DOCS / "reference" / name).write_text(text)
CHART.write_text(chart())
for page in documents():
    before = page.read_text()
    if (after := with_figures(before)) != before:
        page.write_text(after)
        print(f"figures of {page.relative_to(ROOT)}")
