"""At home in every client: writing this server into their configurations, taking it out again, and starting it as they would."""
