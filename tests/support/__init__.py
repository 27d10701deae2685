"""What tests share: servers, models, runs and queues whose truth is known. No test lives here."""
