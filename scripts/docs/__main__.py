"""`python -m scripts.docs` writes the generated pages of docs/reference/ and puts the figures into all documents."""

from scripts.docs import DOCS, ROOT, documents
from scripts.docs.figures import with_figures
from scripts.docs.reference import pages

for name, text in pages().items():
    (DOCS / "reference" / name).write_text(text)
for page in documents():
    before = page.read_text()
    if (after := with_figures(before)) != before:
        page.write_text(after)
        print(f"figures of {page.relative_to(ROOT)}")
