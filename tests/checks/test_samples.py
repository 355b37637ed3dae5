"""What checks read of the metrics of a replica is there, under the names that checks look up."""

from prometheus_client import generate_latest

from webhook import metrics
from webhook.checks import replicas, self_probes
from webhook.checks.facts import samples
from webhook.serving import self_probe as of_a_replica


def test_a_replica_has_the_samples_that_checks_look_up() -> None:
    found = samples(generate_latest(metrics.REGISTRY).decode())
    looked_up = {
        *(name for name, _ in replicas.SYNCED),
        *(replicas.POLICY_IN_SYNC, self_probes.LAST_SUCCESS, self_probes.INTERVAL),
        self_probes.STARTED,
        *(f'{self_probes.RESULT}{{result="{result}"}}' for result in of_a_replica.LEVELS),
    }
    assert looked_up - found.keys() == set()


def test_what_is_no_sample_of_these_is_left_out() -> None:
    text = "# HELP boundtoken_a b\nboundtoken_a 1\nboundtoken_b x\nother 2\nboundtoken_c\n"
    assert samples(text) == {"boundtoken_a": 1.0}
