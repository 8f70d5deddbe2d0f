"""`python -m scripts.docs` writes what is generated: pages, pictures, tables and figures of the documents, the schema
of the chart's values, and what kustomize begins with."""

from scripts import manifests
from scripts.docs import DOCS, ROOT, documents, entries, rules, stages
from scripts.docs.chart import CHART, chart
from scripts.docs.figures import with_figures
from scripts.docs.reference import pages

for name, text in pages().items():
    (DOCS / "reference" / name).write_text(text)
CHART.write_text(chart())
stages.PICTURE.write_text(stages.drawing(stages.phases()))
stages.PAGE.write_text(entries.with_entries(stages.with_stages(stages.PAGE.read_text())))
rules.PAGE.write_text(rules.with_rules(rules.PAGE.read_text()))
for page in documents():
    before = page.read_text()
    if (after := with_figures(before)) != before:
        page.write_text(after)
        print(f"figures of {page.relative_to(ROOT)}")
manifests.write()
