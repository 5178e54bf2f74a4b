package bus

// PublishAlone stores a frame in a message of its own, for the benchmark of what groups bring.
func (b *Bus) PublishAlone(s Signal, frame []byte) error {
	return b.publishGroup(s, []*part{{frame: frame}}, len(frame))
}
