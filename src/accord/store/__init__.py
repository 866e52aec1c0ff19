"""The preference database: tasks and their slots, judgements as append-only events, exports."""
