"""Events with a capacity, and bookings of them."""

from django.db import models
from django.db.models import F, Q


class Event(models.Model):
    id = models.TextField(primary_key=True)
    capacity = models.BigIntegerField()
    booked = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(booked__gte=0, booked__lte=F("capacity")), name="event_capacity"
            )
        ]


class Claim(models.Model):
    id = models.TextField(primary_key=True)
    event = models.ForeignKey(Event, on_delete=models.PROTECT)
    units = models.BigIntegerField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(units__gt=0), name="claim_units")]
