package controlplane

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are drawn below the range that Linux gives to outgoing connections
// (32768 and up) and beside the one of Kubernetes' node ports (30000 and up).
// So a port stays free while its server is stopped for a while.
const (
	portMin   = 20000
	portMax   = 30000
	portTries = 50 // per draw
	runTries  = 5  // draws, when somebody else was quicker
)

// FreePort draws a loopback port that nobody listens on right now.
func FreePort() (int, error) {
	var last error
	for range portTries {
		port := portMin + rand.IntN(portMax-portMin)
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err == nil {
			return port, l.Close()
		}
		last = err
	}
	return 0, fmt.Errorf("find a free port: %w", last)
}

// onFreePort calls run with a free port and again with another one while it
// says errPortTaken: between the draw and the server's start lies a moment.
func onFreePort(run func(port int) error) error {
	var last error
	for range runTries {
		port, err := FreePort()
		if err != nil {
			return err
		}
		if last = run(port); !errors.Is(last, errPortTaken) {
			return last
		}
	}
	return last
}
