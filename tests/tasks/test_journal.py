import threading

import pytest

from tasks import store
from tasks.journal import Entry, Journal
from tasks.orders import orders_of


def failure(cycle: str, text: str = "") -> Entry:
    return Entry(kind="failure", cycle=cycle, stage="analysis", text=text)


def test_entries_are_read_in_the_order_in_which_they_were_written(root: str) -> None:
    journal = Journal(root)
    assert not journal.entries()
    for number in range(11):
        Journal(root).write(failure("20010101T00", str(number)))
    assert [entry.text for entry in journal.entries()] == [str(n) for n in range(11)]
    assert Journal(root).entries() == journal.entries()


def test_entries_of_several_writers_at_once_are_all_kept(root: str) -> None:
    def write() -> None:
        for _ in range(5):
            Journal(root).write(failure("20010101T00", threading.current_thread().name))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [entry.text for entry in Journal(root).entries()]
    assert sorted(names) == sorted(t.name for t in threads for _ in range(5))


def test_an_entry_is_read_once(local_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, read = Journal(local_root), list[str]()
    journal.write(failure("20010101T00"))
    original = store.read_bytes
    monkeypatch.setattr(store, "read_bytes", lambda a: read.append(str(a)) or original(a))
    for _ in range(3):
        journal.entries()
    assert len(read) == 1


def test_a_damaged_entry_is_named(local_root: str) -> None:
    Journal(local_root).write(failure("20010101T00"))
    store.write_bytes(f"{local_root}/journal/000001.json", b"{}")
    with pytest.raises(ValueError, match=r"000001\.json is no entry: kind"):
        Journal(local_root).entries()


def test_a_rerun_clears_what_failed_from_its_cycle_on_and_no_hold() -> None:
    entries = [
        Entry(kind="hold", text="", cycle="20010102T00"),
        failure("20010101T00"),
        failure("20010102T00"),
        Entry(kind="rerun", text="", cycle="20010101T06"),
    ]
    orders = orders_of(entries)
    assert [entry.cycle for entry in orders.troubles] == ["20010101T00"]
    assert list(orders.held) == ["20010102T00"] and orders.reruns == ["20010101T06"]


def test_a_release_of_one_cycle_leaves_the_others_held() -> None:
    cycles = ("", "20010101T00", "20010101T06")
    holds = [Entry(kind="hold", text="", cycle=cycle) for cycle in cycles]
    for cycle in cycles:
        released = Entry(kind="release", text="", cycle=cycle)
        assert set(orders_of([*holds, released]).held) == set(cycles) - {cycle}


def test_an_alert_is_given_again_only_after_a_release() -> None:
    alert = Entry(kind="alert", cycle="20010101T00", stage="analysis", text="failed 3 times")
    assert orders_of([alert]).has_alert(alert)
    released = Entry(kind="release", text="", cycle="20010101T00")
    assert not orders_of([alert, released]).has_alert(alert)
