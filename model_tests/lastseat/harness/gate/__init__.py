"""The gate stands between an implementation and its server, and speaks PostgreSQL's wire protocol.

It cuts what a client sends into *turns* (everything up to Query, Sync or Flush: what a client says
before it waits for an answer), holds each turn until it is released, and reports what was sent,
answered and lost. It knows nothing of bookings.
"""
