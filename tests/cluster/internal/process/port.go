package process

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// FreePort returns a loopback port that nobody listens on. It lies below the
// range from which systems take the ports of outgoing connections, so that none
// of those takes it before the server it is for does.
func FreePort() (int, error) {
	var err error
	for range 100 {
		port := 10240 + rand.IntN(32768-10240)
		var listener net.Listener
		if listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("no free port on 127.0.0.1: %w", err)
}
