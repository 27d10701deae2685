"""All that a load generator needs of a model, without TensorFlow: golden answers, requests, the check of answers."""
