package notify

import "strings"

// Short is a message of two lines for where there is no room: line 1, and the link that acknowledges or opens it.
func Short(m Message) string {
	link := m.URL
	for _, b := range m.Buttons {
		if b.ID == ButtonAcknowledge {
			link = b.URL
		}
	}
	return strings.TrimSpace(m.Heading() + "\n" + link)
}
