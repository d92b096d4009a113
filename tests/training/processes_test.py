"""Which processes belong together, and what one process makes of all that."""

import jax
import pytest
from jax.sharding import Mesh

from mdm.training import processes

PEERS = {
  "MDM_COORDINATOR": "node7:1234",
  "MDM_NUM_PROCESSES": "4",
  "MDM_PROCESS_ID": "3",
}


def test_without_variables_there_is_one_process_and_jax_is_told_nothing():
  assert processes.read_environment({}) is None
  assert processes.start_processes({"MDM_COORDINATOR": ""}) is False
  assert not jax.distributed.is_initialized()


def test_auto_leaves_all_to_jax_and_an_address_goes_before_it():
  assert processes.read_environment({"MDM_DISTRIBUTED": "auto"}) == {}
  found = processes.read_environment({"MDM_DISTRIBUTED": "auto", **PEERS})
  assert found == {
    "coordinator_address": "node7:1234",
    "num_processes": 4,
    "process_id": 3,
    "cluster_detection_method": "deactivate",
  }


@pytest.mark.parametrize(
  ("change", "text"),
  [
    ({"MDM_DISTRIBUTED": "yes"}, "MDM_DISTRIBUTED = yes is unknown; write auto"),
    ({"MDM_PROCESS_ID": ""}, "MDM_COORDINATOR is set, but MDM_PROCESS_ID is not"),
    ({"MDM_COORDINATOR": "node7"}, "node7 is no address; write HOST:PORT"),
    ({"MDM_COORDINATOR": "node7:99999"}, "is no address"),
    ({"MDM_PROCESS_ID": "4"}, "MDM_PROCESS_ID = 4 is not below MDM_NUM_PROCESSES = 4"),
    ({"MDM_PROCESS_ID": "-1"}, "MDM_PROCESS_ID = -1 is no whole number from 0 on"),
    ({"MDM_NUM_PROCESSES": "0"}, "MDM_NUM_PROCESSES = 0 is no whole number from 1"),
    ({"MDM_JOIN_S": "soon"}, "MDM_JOIN_S = soon is no whole number"),
    ({"MDM_HEARTBEAT_S": "0"}, "MDM_HEARTBEAT_S = 0 is no whole number from 1"),
  ],
)
def test_variables_that_are_wrong_are_named_before_anyone_waits(change, text):
  with pytest.raises(ValueError) as error:
    processes.start_processes({**PEERS, **change})
  assert text in str(error.value)
  assert not jax.distributed.is_initialized()


def test_one_process_agrees_with_itself_and_its_folder_is_shared(tmp_path):
  with pytest.raises(KeyError), processes.agreed():
    raise KeyError("as it was")
  assert processes.gather("a word") == ["a word"]
  processes.check_shared(tmp_path / "not there")
  assert list(tmp_path.iterdir()) == []


def test_one_process_has_all_devices_and_all_arrays():
  mesh = Mesh(jax.devices(), ("data",))
  tree = {"a": jax.numpy.ones(8)}
  assert processes.own_mesh(mesh) is mesh
  assert processes.bring_home(tree, mesh)["a"] is tree["a"]


def test_one_process_knows_no_loss_of_peers():
  lost = jax.errors.JaxRuntimeError("Gloo: Connection closed by peer")
  assert processes.describe_loss(lost) is None
