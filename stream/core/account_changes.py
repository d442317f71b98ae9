"""What may happen to an account, and the statuses of a subscription."""

from enum import Enum


class Change(str, Enum):
    """What may happen to an account. Of changes of one time the later one of this list comes later."""

    SIGNED_UP = "signed_up"
    ONBOARDING_STEP = "onboarding_step"
    ONBOARDED = "onboarded"
    TRIAL_STARTED = "trial_started"
    SUBSCRIBED = "subscribed"
    RENEWED = "renewed"
    PAUSED = "paused"
    RESUMED = "resumed"
    CANCELLED = "cancelled"
    NEWSLETTER_JOINED = "newsletter_joined"
    NEWSLETTER_LEFT = "newsletter_left"
    LOYALTY_JOINED = "loyalty_joined"
    LOYALTY_LEFT = "loyalty_left"


class Status(str, Enum):
    """The status of a subscription."""

    TRIALING = "trialing"
    ACTIVE = "active"
    PAUSED = "paused"
    CANCELLED = "cancelled"


STATUS_AFTER = {
    Change.TRIAL_STARTED: Status.TRIALING,
    Change.SUBSCRIBED: Status.ACTIVE,
    Change.RENEWED: Status.ACTIVE,
    Change.RESUMED: Status.ACTIVE,
    Change.PAUSED: Status.PAUSED,
}

# Told after a cancellation these take it back. A pause does not.
TAKES_BACK = frozenset({Change.TRIAL_STARTED, Change.SUBSCRIBED, Change.RENEWED, Change.RESUMED})

# A trial is no customer.
CUSTOMERS = frozenset({Status.ACTIVE, Status.PAUSED})
STANDING = frozenset({Status.TRIALING, Status.ACTIVE, Status.PAUSED})
