package share

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
)

// CanonicalServer returns one spelling of the name or address of an NFS server: in lower case, without
// a dot at the end, and with the short form of an IPv6 address. Use it to compare servers, not to
// mount one.
func CanonicalServer(server string) string {
	server = Unbracket(server)
	if address, err := netip.ParseAddr(server); err == nil {
		return address.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(server, "."))
}

// SameServer reports whether two names or addresses are spellings of one. It resolves no names.
func SameServer(a, b string) bool { return a == b || CanonicalServer(a) == CanonicalServer(b) }

// CheckServer refuses what is neither a name nor an address of a server: a URL, SERVER:/PATH as
// mount(8) takes it, and blanks.
func CheckServer(server string) error {
	const alone = `give the name or address alone, such as "nas.example.com"`
	address := strings.HasPrefix(server, "[") && strings.HasSuffix(server, "]")
	if _, err := netip.ParseAddr(Unbracket(server)); err == nil {
		return nil
	}
	switch {
	case server == "":
		return errors.New("empty; " + alone)
	case strings.Contains(server, "://"):
		return fmt.Errorf("%q is a URL; %s", server, alone)
	case strings.ContainsFunc(server, unicode.IsSpace):
		return fmt.Errorf("%q contains a blank; %s", server, alone)
	case strings.Contains(server, "/"):
		return fmt.Errorf("%q contains a path; %s, and the path as NFS_PATH", server, alone)
	case address, strings.Contains(server, ":"):
		return fmt.Errorf("%q is no IPv6 address; %s", server, alone)
	}
	return nil
}

// CheckExport refuses an exported path that begins or ends with a blank: a mount of it would fail.
func CheckExport(export string) error {
	if strings.TrimSpace(export) != export {
		return fmt.Errorf("%q begins or ends with a blank; remove it", export)
	}
	return nil
}
