"""The section on files of observations that came after the cutoff: no analysis has seen them."""

from tasks.experiment import cycle_time
from tasks.journal import Journal
from tasks.orders import orders_of
from tasks.report_material import Material
from tasks.report_page import Section, Table, count_of
from tasks.streams import sources_of

__all__ = ["late_files"]

SHOWN = 50  # files


def late_files(material: Material) -> Section | None:
    """Tabulate the files that the journal names as late, by cycle; nothing if there are none."""
    rows = [
        [cycle, name]
        for source, times in sources_of(material.root)
        for cycle, files in orders_of(Journal(source).entries()).late.items()
        if times is None or cycle_time(cycle) in times
        for name in files
    ]
    if not rows:
        return None
    cycles = len({cycle for cycle, _ in rows})
    caption = (
        f"{count_of(len(rows), 'file')} of {count_of(cycles, 'cycle')} came after the cutoff or "
        "changed after it: the analyses have not seen what is in them. `losda rerun` of a cycle "
        "from its observations on reads them."
    )
    if len(rows) > SHOWN:
        caption += f" The last {SHOWN} are shown."
    table = Table(["cycle", "file"], sorted(rows)[-SHOWN:], caption, labels=2)
    return Section("late", "Files that came late", tables=[table])
