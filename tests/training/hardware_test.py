from mdm.training import hardware


def test_cores_are_those_this_process_may_use(monkeypatch):
  monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
  assert hardware.count_cores() == 2
  assert hardware.describe_hardware().startswith("2 cores of ")
  monkeypatch.setattr(hardware, "count_cores", lambda: 1)
  assert hardware.describe_hardware().startswith("1 core of ")
