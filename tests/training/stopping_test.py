"""Requests to stop: the first is noted, the second ctrl-C interrupts."""

import contextlib
import os
import signal
import threading

import pytest

from mdm.training.stopping import StopRequest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_interrupts_nothing(number):
  with StopRequest() as stop:
    assert stop.signal is None
    os.kill(os.getpid(), number)
    assert stop.signal == number


def test_a_second_ctrl_c_interrupts():
  with StopRequest() as stop:
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), signal.SIGINT)
  assert stop.signal == signal.SIGINT


def test_a_second_sigterm_does_not_cut_the_saving_short():
  with StopRequest() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.signal == signal.SIGTERM


def test_handlers_are_put_back_even_after_an_error():
  before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
  with contextlib.suppress(ValueError), StopRequest():
    assert signal.getsignal(signal.SIGTERM) != before[0]
    raise ValueError
  assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


def test_other_threads_are_left_alone():
  found = []

  def work():
    with StopRequest() as stop:
      found.append((stop.signal, signal.getsignal(signal.SIGTERM)))

  before = signal.getsignal(signal.SIGTERM)
  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert found == [(None, before)]
