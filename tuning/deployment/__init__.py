"""Guards as MLflow models: described as data, rebuilt on a server, answering in the shape of OpenAI's Responses API."""
