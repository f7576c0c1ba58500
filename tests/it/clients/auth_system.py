import requests
from typing import Optional, Dict, Any

class AuthClient:
    def __init__(self, base_url: str):
        self.base_url = base_url
        self.access_token: Optional[str] = None
        self.refresh_token: Optional[str] = None

    def login(self, email: str, password: str) -> Dict[str, Any]:
        response = requests.post(
            f"{self.base_url}/auth/login",
            json={"email": email, "password": password}
        )
        response.raise_for_status()
        
        data = response.json()
        self.access_token = data["access_token"]
        self.refresh_token = data["refresh_token"]
        
        return data

    def _get_headers(self) -> Dict[str, str]:
        if not self.access_token:
            raise ValueError("Not authenticated")
        
        return {"Authorization": f"Bearer {self.access_token}"}

    def get_users(self, page: int = 1, size: int = 20) -> Dict[str, Any]:
        response = requests.get(
            f"{self.base_url}/users",
            params={"page": page, "size": size},
            headers=self._get_headers()
        )
        
        if response.status_code == 401:
            self.refresh_access_token()
            return self.get_users(page, size)
        
        response.raise_for_status()
        return response.json()

    def refresh_access_token(self) -> Dict[str, Any]:
        if not self.refresh_token:
            raise ValueError("No refresh token available")
        
        response = requests.post(
            f"{self.base_url}/auth/refresh",
            json={"refresh_token": self.refresh_token}
        )
        response.raise_for_status()
        
        data = response.json()
        self.access_token = data["access_token"]
        
        return data

# Usage
client = AuthClient("http://localhost:8000/api/v1")

try:
    client.login("admin@example.com", "admin123456")
    users = client.get_users()
    print(f"Found {users['total']} users")
except requests.RequestException as e:
    print(f"Error: {e}")
