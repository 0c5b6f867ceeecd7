"""What becomes of a stream when bytes of it were altered on their way and the kernel missed it."""

import pytest
import trio

from tests.scenario import Scenario
from tests.scenario_play import WHY_NOT, verdict
from tests.scenario_run import attempt
from tests.scenario_steps import next_stream
from tests.test_scenarios_ends import alter_one

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
REFUSED = Scenario(0, "refused", during=(alter_one("eth1"), next_stream))


def test_altered_data_are_refused_and_come_again_over_another_stream() -> None:
    verdict(trio.run(attempt, REFUSED))
