package class

import "sync"

// Cache parses each StorageClass once, because its parameters are immutable. The zero Cache is ready to use, and safe for concurrent use.
// It never drops an entry, because a cluster has few classes.
type Cache struct {
	parsed sync.Map // UID → outcome
}

type outcome struct {
	class Class
	err   error
}

// Parse is the function Parse with a cache by the UID of the StorageClass. It does not cache an empty UID.
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
