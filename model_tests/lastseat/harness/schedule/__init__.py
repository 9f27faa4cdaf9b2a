"""What happens next, and who decides: decisions and strategies. Bookings are not known here."""
