"""The session against its model, in whatever order applications, network and attacker act."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from asynctls.session.states import Role
from tests.session.arena import SIZES, Arena
from tests.session.model import Kind

ROLES = st.sampled_from(Role)
KINDS = st.sampled_from(Kind)
SMALL = st.integers(0, 30)


class AgainstItsModel(RuleBasedStateMachine):
    """Each rule is one thing that somebody does; the arena holds both ends against the model."""

    @initialize(far=st.sampled_from(["start", "open", "talking", "closing"]))
    def begin(self, far: str) -> None:
        self.arena = Arena()
        if far != "start":
            self.arena.deliver(Role.CLIENT)
            self.arena.deliver(Role.SERVER)
        if far in ("talking", "closing"):
            self.arena.send(Role.SERVER, 100_000, receipt_wanted=True)
        if far == "closing":
            self.arena.close(Role.CLIENT)
            self.arena.close(Role.SERVER)
            for role in (*Role, Role.SERVER, Role.SERVER):
                self.arena.deliver(role)

    @rule(role=ROLES, size=st.sampled_from(SIZES), receipt_wanted=st.booleans())
    def send(self, role: Role, *, size: int, receipt_wanted: bool) -> None:
        self.arena.send(role, size, receipt_wanted=receipt_wanted)

    @rule(role=ROLES, size=st.sampled_from(SIZES))
    def begin_message(self, role: Role, size: int) -> None:
        self.arena.begin(role, size, receipt_wanted=True)

    @rule(role=ROLES)
    def go_on(self, role: Role) -> None:
        self.arena.go_on(role)

    @rule(role=ROLES)
    def take(self, role: Role) -> None:
        self.arena.take(role)

    @rule(role=ROLES)
    def close(self, role: Role) -> None:
        self.arena.close(role)

    @rule(role=ROLES)
    def go_away(self, role: Role) -> None:
        self.arena.go_away(role)

    @rule(role=ROLES, cut_at=st.integers(0, 100))
    def deliver(self, role: Role, cut_at: int) -> None:
        self.arena.deliver(role, cut_at)

    @rule(role=ROLES)
    def deliver_all(self, role: Role) -> None:
        for _ in range(20):
            self.arena.deliver(role)

    @rule(role=ROLES, which=SMALL)
    def repeat(self, role: Role, which: int) -> None:
        self.arena.repeat(role, which)

    @rule(role=ROLES, which=SMALL)
    def reflect(self, role: Role, which: int) -> None:
        self.arena.reflect(role, which)

    @rule(role=ROLES)
    def drop(self, role: Role) -> None:
        self.arena.drop(role)

    @rule(role=ROLES)
    def swap(self, role: Role) -> None:
        self.arena.swap(role)

    @rule(role=ROLES, at=st.integers(0, 200), bit=st.integers(0, 7))
    def change(self, role: Role, at: int, bit: int) -> None:
        self.arena.change(role, at, bit)

    @rule(role=ROLES, kind=KINDS)
    def bring_from_another_session(self, role: Role, kind: Kind) -> None:
        self.arena.bring_from_another_session(role, kind)

    @rule(role=ROLES, kind=KINDS, size=st.sampled_from(SIZES), about=st.integers(0, 4))
    def put_in(self, role: Role, kind: Kind, size: int, about: int) -> None:
        self.arena.put_in(role, kind, size, about)

    @rule(role=ROLES)
    def fail(self, role: Role) -> None:
        self.arena.fail(role)

    @rule(role=ROLES)
    def end_connection(self, role: Role) -> None:
        self.arena.end_connection(role)


TestAgainstItsModel = AgainstItsModel.TestCase
TestAgainstItsModel.settings = settings(stateful_step_count=30)
