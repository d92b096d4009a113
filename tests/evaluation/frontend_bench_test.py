from mdm.api import bench_frontend
from mdm.cli import main
from mdm.evaluation import frontend_bench
from mdm.nn.log_mel import CONVENTIONS


def test_every_convention_and_rate_has_a_speed():
  speeds = frontend_bench.bench_frontend(rounds=1, batch=2, seconds=0.1)
  wanted = {
    f"frontend/{name}_{rate}khz_audio_s_per_core_s"
    for name in CONVENTIONS
    for rate in (16, 8)
  }
  assert speeds.keys() == wanted
  assert all(speed > 0 for speed in speeds.values())


def test_the_time_to_compile_does_not_count(monkeypatch):
  ticks = iter([0, 1000, 1000, 1001, 1001, 1002] * 6)  # the first batch takes 1000 s
  monkeypatch.setattr(frontend_bench.time, "process_time", lambda: next(ticks))
  speeds = frontend_bench.bench_frontend(rounds=2, batch=2, seconds=0.1)
  assert set(speeds.values()) == {0.2}


def test_the_command_prints_what_the_function_gives(monkeypatch, capsys):
  found = {"frontend/kaldi_16khz_audio_s_per_core_s": 123.0}
  monkeypatch.setattr(
    frontend_bench, "bench_frontend", lambda *, rounds: found if rounds == 3 else {}
  )
  assert bench_frontend(rounds=3) == found
  assert not main(["bench", "frontend", "--rounds", "3"])
  assert "frontend/kaldi_16khz_audio_s_per_core_s" in capsys.readouterr().out
