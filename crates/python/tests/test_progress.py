"""Progress and costs as people see them."""

import sys

import ariann
from ariann import _progress


def test_a_line_a_stage(capsys):
    bar = _progress.bar()
    for stage, done in (("dealing", 0), ("dealing", 10), ("dealing", 10), ("predicting", 5), ("predicting", 10)):
        bar(stage, done, 10)
    told = capsys.readouterr().err
    assert told.count("\n") == 2 and told.count("100 %") == 2
    assert "dealing" in told and "predicting" in told


def test_who_is_told(monkeypatch):
    def own(*_told):
        return None

    assert _progress.chosen(own) is own and _progress.chosen(False) is None and _progress.chosen(True) is not None
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    assert _progress.chosen(None) is None
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert _progress.chosen(None) is not None


def test_the_table_of_a_notebook_has_a_bar_a_layer(model):
    cost = model.cost(batch=5)
    page = cost._repr_html_()
    assert page.count("background:") == len(cost.gates) and "width:100.0%" in page
    assert page.count("<tr>") == len(cost.gates) + 1
    assert all(gate["name"] in page for gate in cost.gates)


def test_errors_tell_cause_and_remedy():
    error = ariann.errors.of("peer", "P0 went away; start it again")
    assert isinstance(error, ariann.errors.PeerError) and isinstance(error, RuntimeError)
    assert (error.code, error.fault, error.cause, error.remedy) == (4, "peer", "P0 went away", "start it again")
    assert ariann.errors.of("other", "words").remedy == "" and ariann.errors.of("other", "words").cause == "words"
    kinds = [getattr(ariann.errors, name) for name in ariann.errors.__all__]
    assert all(issubclass(kind, ariann.AriannError) for kind in kinds)
