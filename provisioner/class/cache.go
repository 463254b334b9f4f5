package class

import "sync"

// Cache parses each StorageClass once: its parameters cannot be changed while
// it exists. The zero Cache is ready, and safe for concurrent use. It forgets
// nothing; a cluster has few classes.
type Cache struct {
	parsed sync.Map // UID → outcome
}

type outcome struct {
	class Class
	err   error
}

// Parse is Parse, remembered under the UID of the StorageClass. An empty UID is
// never remembered.
func (c *Cache) Parse(uid string, params map[string]string) (Class, error) {
	if known, ok := c.parsed.Load(uid); ok {
		o, _ := known.(outcome)
		return o.class, o.err
	}
	parsed, err := Parse(params)
	if uid != "" {
		c.parsed.Store(uid, outcome{parsed, err})
	}
	return parsed, err
}
