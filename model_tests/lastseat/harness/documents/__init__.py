"""What a verification leaves for other programs and for readers: JSON, JUnit XML, and a page."""
